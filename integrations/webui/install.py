"""Install vaekit into the Python of the web UI, if it is absent."""

import launch

if not launch.is_installed("vaekit"):
    launch.run_pip("install vaekit", "vaekit, which runs VAEs")
