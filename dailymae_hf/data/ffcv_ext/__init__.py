"""FFCV operations and fields of ours for any `ffcv.Loader`, and all use of ffcv's private names."""
