"""Estimators for scikit-learn: outlier detection in tables, and latents of rows."""

from vaekit.optional import require

require("sklearn", "use the estimators of vaekit", "analysis")
