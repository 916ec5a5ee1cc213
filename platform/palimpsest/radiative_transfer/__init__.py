"""Radiative transfer, written from the papers: leaves, canopies over ground, wet soils, grains, water over a bottom.

Made scenes are made with it, and restoration asks it for what no library holds.
"""
