"""Audio: sound files, waveforms, and their measures."""
