"""Adversarial training: the discriminator's side of the loop, its recipe table and the rollback guard."""
