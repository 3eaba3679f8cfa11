--- The version, in the one place that says it.
return "0.1.0"
