"""Yardsticks: distortion, structure, meaning, rate. One definition each, used by every verb, test and benchmark."""

from __future__ import annotations

from palimpsest.measure.distortion import (
    BandErrors,
    band_errors,
    max_error,
    max_error_per_band,
    psnr_db,
    psnr_per_band_db,
    rmse,
    rmse_per_band,
    sam_deg,
    snr_db,
    spectral_angles_deg,
)
from palimpsest.measure.meaning import band_depth_error, calibration, coverage, depth_error, label_agreement
from palimpsest.measure.quality import Quality, quality
from palimpsest.measure.rate import RatioAtEqualRate, bd_rate, bpppc, ratio_at_equal_rate
from palimpsest.measure.structure import mssim, ssim_per_band

__all__ = [
    "BandErrors", "Quality", "RatioAtEqualRate", "band_depth_error", "band_errors", "bd_rate", "bpppc", "calibration",
    "coverage", "depth_error", "label_agreement", "max_error", "max_error_per_band", "mssim", "psnr_db",
    "psnr_per_band_db", "quality", "ratio_at_equal_rate", "rmse", "rmse_per_band", "sam_deg", "snr_db",
    "spectral_angles_deg", "ssim_per_band",
]
