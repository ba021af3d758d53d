"""Files of many items, of whatever kind: folders, tars, Arrow and Parquet, arrays, CSV, lines of text."""
