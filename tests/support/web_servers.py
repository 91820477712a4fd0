"""Titles of the recipes for web servers in docs/how-to/."""

from support.deployment import recipe

NGINX = ["nginx and mailapi serve", "nginx and gunicorn", "nginx and uWSGI"]
APACHE = ["Apache and mod_wsgi", "Apache and CGI", "Apache and CGI by .htaccess"]
LIGHTTPD = ["lighttpd and FastCGI", "lighttpd and CGI"]


def nginx_recipe(title: str) -> str:
    """Return the nginx configuration of a recipe."""
    return recipe(title).get("nginx") or recipe("nginx and mailapi serve")["nginx"]
