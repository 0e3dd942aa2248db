"""What commands write into folders of somebody: recorded, so that only that is ever replaced."""
