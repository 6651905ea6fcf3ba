"""The pytest side: settings in, reports out. Besides ``plugin``, the only room that knows pytest."""
