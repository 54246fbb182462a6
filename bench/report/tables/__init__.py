"""The neutral table and what fills it: rows, columns, cells, marks. No format, no file."""
