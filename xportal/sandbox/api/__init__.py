"""The sandbox's cloud API: moto in process, with AWS's own rules where moto is more lenient."""
