// The page: cubes, jobs, one band at a time, one pixel explained. Everything comes from the public REST interface.
import { drawBand, drawSpectra } from "/view.js";

const $ = (id) => document.getElementById(id);
const CHUNK = 8 * 2 ** 20;
const state = { open: null, pixel: null, reference: null, restoration: null, jobs: new Set(), ticked: new Set(), names: {} };

function say(text, wrong = false) {
  $("said").textContent = text;
  $("said").className = wrong ? "wrong" : "";
}

async function ask(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { ...(options.headers || {}), ...(key ? { "X-API-Key": key } : {}) };
  const answer = await fetch(path, { ...options, headers });
  if (!answer.ok) {
    if (answer.status === 401) $("key-form").hidden = false;
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.detail || `${answer.status} ${answer.statusText}`);
  }
  return answer;
}

const get = async (path) => (await ask(path)).json();
const post = async (path, body) =>
  (await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).json();

function guarded(work) {
  return (event) => {
    if (event) event.preventDefault();
    work(event).catch((error) => say(error.message, true));
  };
}

// Uploads: tus 1.0 in pieces, so that a large file shows its progress and a broken line costs one piece.
async function send(file, told) {
  const name = btoa(String.fromCharCode(...new TextEncoder().encode(file.name)));
  const made = await ask("/v1/uploads", {
    method: "POST", headers: { "Tus-Resumable": "1.0.0", "Upload-Length": String(file.size), "Upload-Metadata": `filename ${name}` },
  });
  const place = made.headers.get("Location");
  for (let at = 0; at < file.size; at += CHUNK) {
    await ask(place, {
      method: "PATCH", body: file.slice(at, at + CHUNK),
      headers: { "Tus-Resumable": "1.0.0", "Upload-Offset": String(at), "Content-Type": "application/offset+octet-stream" },
    });
    told(Math.min(at + CHUNK, file.size));
  }
  return place.split("/").pop();
}

async function upload() {
  const files = [...$("files").files];
  const whole = files.reduce((sum, file) => sum + file.size, 0) || 1;
  const bar = $("sent");
  bar.hidden = false;
  let before = 0;
  const ids = [];
  for (const file of files) {
    say(`Uploading ${file.name}`);
    ids.push(await send(file, (at) => { bar.value = (before + at) / whole; }));
    before += file.size;
  }
  const cube = await post("/v1/cubes", { uploads: ids });
  bar.hidden = true;
  $("upload").reset();
  say(`${cube.name} is here: ${cube.bands} bands, ${cube.rows} x ${cube.cols} pixels.`);
  await list();
  await openArtifact(cube.artifact, cube.name);
}

function item(label, detail, open) {
  const line = document.createElement("li");
  const button = document.createElement("button");
  const small = document.createElement("small");
  small.textContent = ` ${detail}`;
  button.append(label, small);
  if (open) button.addEventListener("click", guarded(open));
  else button.disabled = true;
  line.append(button);
  return line;
}

// A cube of the list can be ticked: what is ticked is organised, or restored together.
function tickable(line, cube) {
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = state.ticked.has(cube.id);
  box.setAttribute("aria-label", `tick ${cube.name}`);
  box.addEventListener("change", () => {
    if (box.checked) state.ticked.add(cube.id);
    else state.ticked.delete(cube.id);
    $("together").hidden = state.ticked.size === 0;
  });
  line.prepend(box);
  return line;
}

async function list() {
  const [{ cubes }, { jobs }] = await Promise.all([get("/v1/cubes"), get("/v1/jobs")]);
  state.names = Object.fromEntries(cubes.map((cube) => [cube.id, cube.name]));
  $("cubes").replaceChildren(...cubes.map((cube) => tickable(
    item(cube.name, `${cube.bands} x ${cube.rows} x ${cube.cols} ${cube.dtype}`, () => openArtifact(cube.artifact, cube.name)), cube)));
  $("jobs").replaceChildren(...jobs.map((job) => {
    const ended = job.status === "successful" && !["evaluate", "compare"].includes(job.processID);
    return item(`${job.processID}: ${job.status}`, job.status === "running" ? `${job.progress} %, ${job.message}` : job.message,
      ended ? () => openJob(job) : null);
  }));
  for (const job of jobs) if (job.status === "accepted" || job.status === "running") follow(job.jobID);
}

function follow(id) {
  if (state.jobs.has(id) || sessionStorage.getItem("key")) return; // EventSource cannot send a key: then only polling
  state.jobs.add(id);
  const source = new EventSource(`/v1/jobs/${id}/events`);
  const told = () => list().catch((error) => say(error.message, true));
  for (const kind of ["running", "progress", "given-back"]) source.addEventListener(kind, told);
  source.addEventListener("end", (event) => {
    source.close();
    state.jobs.delete(id);
    const { status, message } = JSON.parse(event.data);
    const failed = status === "failed";
    say(failed && message ? `Job failed: ${message}` : `Job ${status}.`, failed);
    told();
  });
}

async function openJob(job) {
  const result = await get(`/v1/jobs/${job.jobID}/results`);
  if (result.groups) {
    showGroups(result);
    return;
  }
  await openArtifact(result.artifact, `${job.processID} result`, result.restoration || null);
}

// Restored cubes in the order given, each with its group; or the groups of a pile that was only put in order.
function showGroups(result) {
  const named = (id) => state.names[id] || id;
  $("groups").replaceChildren(...(Array.isArray(result.cubes)
    ? result.cubes.map((cube) => item(`${cube.name}, restored`, cube.group, () => openArtifact(cube.artifact, `${cube.name}, restored`, cube.restoration)))
    : result.groups.map((group) => item(group.name, group.members.map(named).join(", "), null))));
}

async function together(event) {
  const what = event.submitter.value;
  const job = await post(`/v1/processes/${what}/execution`, { inputs: [...state.ticked] });
  say(`${what} waits for a worker.`);
  follow(job.jobID);
  await list();
}

async function openArtifact(id, name, restoration = null) {
  const artifact = await get(`/v1/artifacts/${id}`);
  const facts = artifact.facts;
  state.open = artifact;
  state.restoration = restoration;
  state.reference = facts.from || null;
  $("view-title").textContent = name;
  $("run").hidden = $("picture").hidden = false;
  $("band").max = facts.bands - 1;
  $("band").value = Math.min(Math.floor(facts.bands / 4), facts.bands - 1);
  state.pixel = [Math.floor(facts.rows / 2), Math.floor(facts.cols / 2)];
  $("downloads").replaceChildren(...["native", "envi", "cog", "netcdf"].map((form) => {
    const link = document.createElement("a");
    link.href = `/v1/artifacts/${id}/download?format=${form}`;
    link.textContent = form;
    link.download = "";
    const around = document.createElement("span");
    around.append(link, " ");
    return around;
  }));
  await showBand();
  await showPixel();
  $("view").focus();
}

async function showBand() {
  const band = Number($("band").value);
  const open = state.open;
  const waves = open.facts.wavelengths_nm;
  $("band-name").textContent = waves ? `${band}: ${waves[band].toFixed(1)} nm` : String(band);
  const answer = await ask(`/v1/artifacts/${open.id}/bands/${band}`);
  const grey = new Uint8Array(await answer.arrayBuffer());
  if (state.open !== open || Number($("band").value) !== band) return; // overtaken
  state.step = Number(answer.headers.get("X-Step"));
  state.picture = { rows: Number(answer.headers.get("X-Rows")), cols: Number(answer.headers.get("X-Cols")), grey };
  redraw();
}

function redraw() {
  const [row, col] = state.pixel;
  drawBand($("canvas"), state.picture, Math.floor(row / state.step), Math.floor(col / state.step));
}

async function showPixel() {
  redraw();
  const { pixel, open, restoration } = state;
  const [row, col] = pixel;
  $("pixel-title").textContent = `Pixel ${row}, ${col}`;
  const at = `row=${row}&col=${col}`;
  const lines = [];
  const here = await get(`/v1/artifacts/${open.id}/spectrum?${at}`);
  let body = [];
  let words = "";
  if (restoration) {
    const why = await get(`/v1/restorations/${restoration}/explanation?${at}`);
    lines.push({ name: "decoded", colour: "#c60", values: why.decoded });
    lines.push({ name: "restored", colour: "#06c", values: why.restored, band: why.interval });
    body = why.groups.map(groupRow);
    words = why.paragraph;
  } else {
    lines.push({ name: open.kind === "stream" ? "decoded" : "stored", colour: "#06c", values: here.values });
  }
  const origin = await original();
  if (origin) lines.unshift({ name: "original", colour: "#888", values: (await get(`/v1/artifacts/${origin}/spectrum?${at}`)).values });
  // Answers may overtake each other: one about a pixel that was left meanwhile must not stand under the new one's name.
  if (state.pixel !== pixel || state.open !== open) return;
  drawSpectra($("plot"), here.wavelengths_nm, lines);
  $("legend").textContent = lines.map((line) => `${line.name}: ${line.colour}`).join("   ").replaceAll("#888", "grey")
    .replaceAll("#c60", "orange").replaceAll("#06c", "blue");
  $("in-words").textContent = words;
  $("why").tBodies[0].replaceChildren(...body);
}

// The cube that everything began with: back along 'from'.
async function original() {
  let from = state.reference;
  while (from) {
    const artifact = await get(`/v1/artifacts/${from}`);
    if (!artifact.facts.from) return from;
    from = artifact.facts.from;
  }
  return null;
}

function groupRow(group) {
  const row = document.createElement("tr");
  const place = group.from_nm === null ? group.bands : `${group.from_nm.toFixed(0)} to ${group.to_nm.toFixed(0)} nm`;
  const width = group.half_width === null ? "" : ` ± ${group.half_width.toPrecision(3)}`;
  const shown = (value) => (value === null ? "?" : value.toFixed(2));
  for (const [text, number] of [[place, false], [group.class.replaceAll("_", " "), false],
    [shown(group.decoded), true], [shown(group.restored) + width, true]]) {
    const cell = document.createElement("td");
    cell.textContent = text;
    if (number) cell.className = "number";
    row.append(cell);
  }
  const reasons = document.createElement("td");
  const all = document.createElement("ul");
  for (const one of group.contributions) {
    const line = document.createElement("li");
    line.textContent = `${one.value >= 0 ? "+" : ""}${one.value.toFixed(2)} ${one.source} (trust ${one.confidence.toFixed(2)}): ${one.sentence}`;
    if (one.rule || one.material) line.title = one.rule || one.material;
    all.append(line);
  }
  reasons.append(all);
  row.append(reasons);
  return row;
}

function move(rows, cols) {
  const facts = state.open.facts;
  state.pixel = [
    Math.min(Math.max(state.pixel[0] + rows, 0), facts.rows - 1), Math.min(Math.max(state.pixel[1] + cols, 0), facts.cols - 1),
  ];
}

async function submit(event) {
  const what = event.submitter.value;
  const id = state.open.id;
  let body = { input: id };
  if (what === "compress") {
    const mode = $("mode").value;
    const amount = Number($("amount").value);
    body = { cube: id, mode, ...(mode === "rate" ? { bpppc: amount } : {}), ...(mode === "bound" ? { max_error: amount } : {}) };
  }
  const job = await post(`/v1/processes/${what}/execution`, body);
  say(`${what} waits for a worker.`);
  follow(job.jobID);
  await list();
}

$("upload").addEventListener("submit", guarded(upload));
$("run").addEventListener("submit", guarded(submit));
$("together").addEventListener("submit", guarded(together));
$("mode").addEventListener("change", () => { $("amount").disabled = $("mode").value === "lossless"; });
$("band").addEventListener("input", guarded(showBand));
$("key-form").addEventListener("submit", guarded(async () => {
  sessionStorage.setItem("key", $("key").value);
  $("key-form").hidden = true;
  await list();
}));
$("canvas").addEventListener("click", guarded(async (event) => {
  const box = $("canvas").getBoundingClientRect();
  const facts = state.open.facts;
  state.pixel = [
    Math.min(Math.floor(((event.clientY - box.top) / box.height) * facts.rows), facts.rows - 1),
    Math.min(Math.floor(((event.clientX - box.left) / box.width) * facts.cols), facts.cols - 1),
  ];
  await showPixel();
}));
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
$("canvas").addEventListener("keydown", (event) => {
  const step = ARROWS[event.key];
  if (!step || !state.open) return;
  const far = event.shiftKey ? 10 : 1;
  move(step[0] * far, step[1] * far);
  guarded(showPixel)(event);
});

guarded(list)();
setInterval(() => { if (sessionStorage.getItem("key")) list().catch(() => {}); }, 3000);
