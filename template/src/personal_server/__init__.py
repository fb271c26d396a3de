"""The server around the tools: settings, commands, discovery of tools, and the app itself."""
