"""One function per verb: paths and options in, records and files out, progress by callback. Nothing here prints."""
