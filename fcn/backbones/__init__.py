"""Backbones: importing this package adds to timm's registry the networks it lacks."""

from fcn.backbones import alexnet, googlenet

__all__ = ["alexnet", "googlenet"]
