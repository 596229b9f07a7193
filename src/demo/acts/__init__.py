"""The acts of the demonstration: each plays one scene and says whether its promise was kept."""
