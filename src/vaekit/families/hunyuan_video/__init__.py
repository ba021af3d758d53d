"""The hunyuan_video family."""
