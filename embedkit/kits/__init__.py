"""Adapters of embedkit for evaluation kits and scikit-learn."""
