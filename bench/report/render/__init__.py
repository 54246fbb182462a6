"""An exhibit as Markdown, CSV and LaTeX."""
