"""IAM and STS: roles, what their policies allow, and who has taken them on. moto answers the calls themselves."""
