"""Which material each pixel is, how sure that is, what it hangs on, and what a pixel is mixed of."""
