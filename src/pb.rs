//! The only door to generated protobuf code.
