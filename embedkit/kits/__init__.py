"""embedkit as evaluation kits and scikit-learn take it."""
