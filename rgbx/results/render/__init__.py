"""Tables as text: on the terminal, in Markdown, CSV, LaTeX and HTML."""
