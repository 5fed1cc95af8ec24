from platformio.public import PlatformBase


class Ststm32Platform(PlatformBase):
    """PlatformIO looks for a class of this name."""
