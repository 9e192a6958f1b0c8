"""What the vectors are good for. Everything here reads embedding folders and never torch."""
