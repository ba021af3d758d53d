"""Estimators for scikit-learn: outlier detection in tables, and latents of rows."""
