"""Finding tools by what they are for: words and their stems, what stands for what, and an index of both. Pure."""
