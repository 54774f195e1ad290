# Runs the embedded demo: docker build -t counterset . && docker run counterset
FROM python:3.11-slim

RUN useradd --create-home counterset
WORKDIR /opt/counterset
COPY . .
# uv picks the CPU build of torch, a tenth of the size of the default one.
RUN pip install --no-cache-dir uv \
    && uv pip install --system --no-cache --torch-backend=cpu --constraint constraints.txt . \
    && pip uninstall --yes uv

USER counterset
WORKDIR /home/counterset
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["counterset"]
CMD ["demo"]
