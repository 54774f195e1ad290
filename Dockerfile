# Runs the embedded demo:  docker build -t counterset . && docker run counterset
# and is the server and the worker of compose.yaml.
FROM python:3.11-slim

RUN useradd --create-home counterset && install -d -o counterset -g counterset /runs
WORKDIR /opt/counterset
COPY . .
# uv picks the CPU build of torch, a tenth of the size of the default one.
RUN pip install --no-cache-dir uv \
    && uv pip install --system --no-cache --torch-backend=cpu --constraint constraints.txt . \
    && pip uninstall --yes uv

USER counterset
WORKDIR /runs
ENV PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false
ENTRYPOINT ["counterset"]
CMD ["demo"]
