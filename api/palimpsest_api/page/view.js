// Two pictures on canvases: a band in grey with a cross on the pixel, and spectra with their interval.

export function drawBand(canvas, picture, row, col) {
  const { rows, cols, grey } = picture;
  canvas.width = cols;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(cols, rows);
  for (let i = 0; i < grey.length; i += 1) {
    image.data.set(grey[i] === 0 ? [90, 0, 60, 255] : [grey[i], grey[i], grey[i], 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  context.strokeStyle = "#0f8";
  context.lineWidth = Math.max(1, cols / 300);
  const arm = Math.max(3, cols / 40);
  context.beginPath();
  for (const [x, y] of [[1, 0], [0, 1]]) {
    context.moveTo(col + 0.5 - x * arm, row + 0.5 - y * arm);
    context.lineTo(col + 0.5 + x * arm, row + 0.5 + y * arm);
  }
  context.stroke();
}

export function drawSpectra(canvas, waves, lines) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const edge = { left: 56, right: 8, top: 8, bottom: 24 };
  context.clearRect(0, 0, width, height);
  const seen = lines.flatMap((line) => [...line.values, ...(line.band || []).filter(Boolean).flat()]).filter((v) => v !== null);
  if (!seen.length) return;
  const low = Math.min(...seen);
  const high = Math.max(...seen);
  const count = lines[0].values.length;
  const xs = waves || Array.from({ length: count }, (_, i) => i);
  const first = Math.min(...xs);
  const last = Math.max(...xs);
  const x = (value) => edge.left + ((value - first) / (last - first || 1)) * (width - edge.left - edge.right);
  const y = (value) => height - edge.bottom - ((value - low) / (high - low || 1)) * (height - edge.top - edge.bottom);
  context.fillStyle = context.strokeStyle = getComputedStyle(canvas).color;
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "right";
  for (const value of [low, (low + high) / 2, high]) context.fillText(value.toPrecision(4), edge.left - 6, y(value) + 4);
  context.textAlign = "center";
  for (const value of [first, (first + last) / 2, last]) {
    context.fillText(`${value.toFixed(0)}${waves ? " nm" : ""}`, Math.min(Math.max(x(value), edge.left + 16), width - 26), height - 8);
  }
  // Detectors may overlap and bands may descend: draw in the order of wavelength.
  const order = xs.map((_, i) => i).sort((a, b) => xs[a] - xs[b]);
  for (const line of lines) {
    context.strokeStyle = line.colour;
    if (line.band) {
      context.globalAlpha = 0.35;
      for (const i of order) {
        if (!line.band[i]) continue;
        context.beginPath();
        context.moveTo(x(xs[i]), y(line.band[i][0]));
        context.lineTo(x(xs[i]), y(line.band[i][1]));
        context.stroke();
      }
      context.globalAlpha = 1;
    }
    context.beginPath();
    let down = false;
    for (const i of order) {
      if (line.values[i] === null) { down = false; continue; }
      if (down) context.lineTo(x(xs[i]), y(line.values[i]));
      else context.moveTo(x(xs[i]), y(line.values[i]));
      down = true;
    }
    context.stroke();
  }
}
