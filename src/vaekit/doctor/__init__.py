"""Health checks that run a VAE on synthetic images; each finding has its values and a remedy."""
