"""Compare candidates (VAEs, decoders, folders of reconstructions) on images: measures, defects, verdicts."""
