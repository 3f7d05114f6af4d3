"""One stage a module or folder, in the order an event walks them; a pure core beside a thin DoFn."""
