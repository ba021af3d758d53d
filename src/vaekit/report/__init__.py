"""Reports: an HTML page and a model card of measured VAEs."""
