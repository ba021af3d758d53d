"""The hunyuan_image family."""
