"""One technology each. An adapter converts every foreign error at its edge."""
