"""What a person looks at: plots, maps and reports."""
