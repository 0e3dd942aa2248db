"""Tables: estimates as rows of text, and as files."""
