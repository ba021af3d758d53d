"""Data sets of any kind: folders, tars, Arrow and Parquet, arrays, CSV, lines of text."""
