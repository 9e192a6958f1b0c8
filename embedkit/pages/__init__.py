"""Pages and pictures that embedkit writes."""
