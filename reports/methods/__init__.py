"""The account of a report that a paper needs: `methods.md`, `methods.tex`, `references.bib`."""
