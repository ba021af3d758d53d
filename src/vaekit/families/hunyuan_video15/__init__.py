"""The hunyuan_video15 family."""
