"""Networks: weights in the shape of one family each. A net never knows that it is inside a VAE."""
