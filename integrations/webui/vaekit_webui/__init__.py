"""The parts of the extension that do not depend on a web UI."""
