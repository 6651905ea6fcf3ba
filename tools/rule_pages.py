def pages(): return {}
def orphans(): return []
