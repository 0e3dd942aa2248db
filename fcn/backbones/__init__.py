"""Backbones: importing this package adds to timm's registry the networks it lacks."""

from fcn.backbones import alexnet, caffenet, googlenet, googlenet_original

__all__ = ["alexnet", "caffenet", "googlenet", "googlenet_original"]
