"""Costs on the app's task, measured side by side with LangSmith's own wrapper in one run."""
