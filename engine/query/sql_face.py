"""placeholder"""
def run_sql(snapshot, request):
    raise NotImplementedError
