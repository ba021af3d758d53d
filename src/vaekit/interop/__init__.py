"""A VAE dressed as what another library expects: the room that knows how others call things that are no files."""
